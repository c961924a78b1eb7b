"""`maquette serve`: trained runs over HTTP, shaped like OpenAI's API. It stands above `api.py`, like the command line.

A request is checked against what its run can be asked (asking.py), before anything is loaded; becomes a job (jobs.py)
in a bounded line; is computed together with others of its run, in one thread (engine.py); and is answered as files with
their label (answers.py). Endpoints: pictures, edits, texts, sounds, clips, standing.
"""
