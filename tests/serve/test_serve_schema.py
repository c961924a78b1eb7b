"""Every operation of the OpenAPI document, by schemathesis: what fits is answered, what does not is refused, nothing
fails."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest
from served import Server

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

EXAMPLES = int(os.environ.get("MAQUETTE_EXAMPLES", "0"))  # of each operation


@pytest.mark.skipif(not EXAMPLES, reason="takes minutes: set MAQUETTE_EXAMPLES=200")
def test_what_the_document_says_holds(server: Server) -> None:
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis import strategies as st
    from hypothesis.errors import Unsatisfiable
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    from maquette.serve.edits import UPLOADS

    picture = server.openai.images.generate(model=server.openai.models.list().data[0].id, prompt="").data[0].b64_json
    schemathesis.openapi.format("binary", st.just(base64.b64decode(picture)))

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    config = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
                      phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
    tried, failures = 0, list[str]()
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in schemathesis.GenerationMode:

            @config
            @_given(operation, mode)
            def fits(case: Any) -> None:
                nonlocal tried
                tried += 1
                # Whether files fit one another, and the run, is nothing that a schema can say.
                left_out = [positive_data_acceptance] if case.operation.path in UPLOADS else []
                case.call_and_validate(timeout=60, excluded_checks=left_out)

            try:
                fits()
            except Unsatisfiable:  # nothing can be sent that does not fit
                continue
            except BaseException as error:
                failures.append(f"{operation.label} ({mode.value}): {error}"[:2000])
    assert tried and not failures, "\n\n".join(failures)


def _given(operation: Any, mode: Any) -> Any:
    from hypothesis import given

    return given(case=operation.as_strategy(generation_mode=mode))
