"""The bare app: Textual with a table of 1,000 rows and a footer, and nothing else."""

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.widgets import DataTable, Footer


class Bare(App[None]):
    """What any console made with Textual takes at least."""

    BINDINGS: ClassVar = [("q", "quit", "Quit")]

    def compose(self) -> ComposeResult:
        """Builds it."""
        yield DataTable()
        yield Footer()

    def on_mount(self) -> None:
        """Fills the table."""
        table = self.query_one(DataTable)
        table.add_columns("number", "name", "state")
        table.add_rows((str(number), f"row {number}", "as it should be") for number in range(1000))


if __name__ == "__main__":
    Bare().run()
