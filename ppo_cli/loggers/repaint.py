"""A live picture that leaves nothing behind where the terminal changes its size."""

from __future__ import annotations

from rich.console import ConsoleDimensions, ConsoleRenderable
from rich.control import Control
from rich.live import Live


class SteadyLive(Live):
    """Rich's live display on a screen that is wiped after every change of its size.

    A terminal that becomes narrower folds the lines that stand there, and then no count of lines leads back to the
    first of them.
    """

    _painted_for: ConsoleDimensions | None = None

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """What goes out with this repaint."""
        painted_for, self._painted_for = self._painted_for, self.console.size
        found = super().process_renderables(renderables)
        if painted_for in (None, self._painted_for) or not self.console.is_terminal:
            return found
        return [Control.clear(), Control.home(), *found]  # going up from the first line leads nowhere
