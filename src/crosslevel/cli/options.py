"""Options and exit statuses that commands share."""

from typing import Annotated

import typer

NOT_CONVERGED = 1

Json = Annotated[bool, typer.Option("--json", help="Print every number as JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress messages.")]
