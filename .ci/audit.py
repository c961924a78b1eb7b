"""Known holes in what is installed, by pip-audit: python .ci/audit.py

Ends with 1 where there is one. Where no database of holes can be reached it says so, by name, and ends with 0: then
nothing has been checked. That a database answers is seen by its knowing of a release that is nothing but holes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

OURS = "maquette"
FULL_OF_HOLES = "pycrypto==2.6.1"  # given up in 2013; installed nowhere
DATABASES = ("pypi", "osv")


def installed() -> list[str]:
    """`name==version` of each distribution; a build of it (2.13.0+cpu) goes by the release that it is of."""
    found = {entry.name.lower(): entry.version.partition("+")[0] for entry in metadata.distributions()}
    return sorted(f"{name}=={version}" for name, version in found.items() if name != OURS)


def ask(database: str, releases: list[str]) -> list[dict]:
    """What a database knows of releases: an entry each. Raises RuntimeError with pip-audit's last words."""
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", database, "--format", "json",
               "--progress-spinner", "off", "--no-deps", "--disable-pip", "--requirement", "/dev/stdin"]  # fmt: skip
    answer = subprocess.run(command, input="\n".join(releases), capture_output=True, text=True)
    try:
        return json.loads(answer.stdout)["dependencies"]
    except ValueError:
        raise RuntimeError((answer.stderr.strip() or "no answer").splitlines()[-1]) from None


def silence(database: str) -> str:
    """Why a database cannot be used; empty if it can."""
    try:
        (entry,) = ask(database, [FULL_OF_HOLES])
    except RuntimeError as error:
        return str(error)
    return "" if entry.get("vulns") else entry.get("skip_reason", f"it knows of no hole in {FULL_OF_HOLES}")


def main() -> int:
    """Print what is known; the exit status tells whether a hole is."""
    print(f"pip-audit {metadata.version('pip-audit')}")
    for database in DATABASES:
        if not (reason := silence(database)):
            break
        print(f"  {database}: {reason}")
    else:
        print("No database could be reached: nothing has been checked.")
        return 0
    entries = ask(database, installed())
    holes = [(entry, hole) for entry in entries for hole in entry.get("vulns", [])]
    for entry, hole in holes:
        names = " ".join([hole["id"], *hole["aliases"]])
        print(
            f"  {entry['name']} {entry['version']}: {names}, mended in {', '.join(hole['fix_versions']) or 'none yet'}"
        )
    skipped = [entry for entry in entries if "skip_reason" in entry]
    for entry in skipped:
        print(f"  not checked: {entry['skip_reason']}")
    print(f"{len(entries) - len(skipped)} releases looked up in {database}: {len(holes)} known holes.")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
