"""Write the output that pages really give into them: `python docs/building/refresh.py docs/page.md ...`.

For a writer's convenience; whether what comes is right is for the writer to judge, and the difference for a review.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from building.running import FENCE, block_lines, settled


def refreshed(text: str, name: str) -> str:
    """The page with the output of its examples in place of what it says; ellipses stay."""
    known: dict[str, object] = {"__name__": "__main__"}
    parts, end = [], 0
    with settled():
        for found in FENCE.finditer(text):
            if found[1].lstrip().startswith(">>>"):
                parts.extend([text[end : found.start(1)], block_lines(found[1], name, known)])
                end = found.end(1)
    return "".join([*parts, text[end:]])


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        page = Path(argument)
        page.write_text(refreshed(page.read_text(encoding="utf-8"), argument), encoding="utf-8")
