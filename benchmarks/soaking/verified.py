"""What `npmmirror verify` found, beside orphans.

A kill between the rename of a tarball and its record leaves a whole file that nobody knows of any
more once upstream took the version back. The judge holds such files against what upstream served.
"""

import json
import re
from typing import Any

_PROBLEMS = re.compile(r"^ *problems +([\d,]+), ", re.MULTILINE)
_ORPHAN = re.compile(r": orphan[ ,;]")


def problems(said: str, *, as_json: bool) -> list[Any]:
    """The findings that are deviations; their number alone where people were told.

    None where there is no report: a daemon that was asked, and killed, gives none.
    """
    if not as_json:
        found = _PROBLEMS.search(said)
        count = int(found[1].replace(",", "")) if found is not None else 0
        left = count - len(_ORPHAN.findall(said))
        return [left] if left else []
    start = said.find("{\n")
    if start < 0:
        return []
    report, _ = json.JSONDecoder().raw_decode(said, start)
    listed = [one for one in report["findings"] if one["what"] != "orphan"]
    return [*listed, report["findings_left_out"]] if report["findings_left_out"] else listed
