"""The command `crosslevel`. No statistics here: commands call the library and print what it returns."""

from crosslevel.cli.app import main as main
