"""The last weeks of a statistic as a small PNG, since mail programs show no SVG."""

import io
from typing import TYPE_CHECKING

from pinflow.stats_engine.notice import AlertNote
from pinflow.stats_engine.rules import show

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

SIZE = (600, 150)
"""Width and height in pixels, as shown; the picture has twice as many for fine screens."""

_FINE = 2
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 14, 12, 24
_INK, _LINE, _BAND, _ALARM, _GRID = "#24292f", "#57606a", "#cfe8d5", "#cf222e", "#d8dee4"


def png_of(alert: AlertNote, day: str) -> bytes | None:
    """History as a line, the forecast's band on the day, and the day's value as a red point; None without a value."""
    from PIL import Image, ImageDraw, ImageFont  # few processes draw

    if alert.value is None or not alert.history:
        return None
    image = Image.new("RGB", (SIZE[0] * _FINE, SIZE[1] * _FINE), "white")
    canvas = _Canvas(ImageDraw.Draw(image), alert)
    canvas.frame(ImageFont.load_default(11 * _FINE), alert.history[0][0], day)
    canvas.values()
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


class _Canvas:
    """Places values on the picture: each value of the history, then the day's, from left to right."""

    def __init__(self, draw: "ImageDraw", alert: AlertNote) -> None:
        self._draw, self._alert = draw, alert
        self._line = [value for _, value in alert.history]
        known = [alert.value, alert.low, alert.high, alert.forecast]
        every = [0.0, *self._line, *(value for value in known if value is not None)]
        self._low, self._high = min(every), max(every)
        if self._low == self._high:
            self._high = self._low + 1.0

    def frame(self, font: object, first: str, last: str) -> None:
        """The highest and lowest value, the dates of both ends, and the band of the day."""
        left, right = _LEFT * _FINE, (SIZE[0] - _RIGHT) * _FINE
        for value in (self._low, self._high):
            y = self._y(value)
            self._draw.line([left, y, right, y], _GRID, _FINE)
            self._draw.text((left - 6 * _FINE, y), show(value), _INK, font, anchor="rm")  # type: ignore[arg-type]
        bottom = (SIZE[1] - 4) * _FINE
        self._draw.text((left, bottom), first, _INK, font, anchor="ls")  # type: ignore[arg-type]
        self._draw.text((right, bottom), last, _INK, font, anchor="rs")  # type: ignore[arg-type]
        x, alert = self._x(len(self._line)), self._alert
        low = self._low if alert.low is None else alert.low
        high = self._high if alert.high is None else alert.high
        self._draw.rectangle([x - 7 * _FINE, self._y(high), x + 7 * _FINE, self._y(low)], _BAND)

    def values(self) -> None:
        """The line, the forecast as a dash, the day's value as a point."""
        points = [(self._x(number), self._y(value)) for number, value in enumerate(self._line)]
        self._draw.line([c for point in points for c in point], _LINE, 2 * _FINE, joint="curve")
        for x, y in points:
            self._dot(x, y, 2, _LINE)
        x = self._x(len(self._line))
        if self._alert.forecast is not None:
            y = self._y(self._alert.forecast)
            self._draw.line([x - 7 * _FINE, y, x + 7 * _FINE, y], _INK, 2 * _FINE)
        self._dot(x, self._y(self._alert.value or 0.0), 4, _ALARM)

    def _dot(self, x: float, y: float, radius: int, colour: str) -> None:
        size = radius * _FINE
        self._draw.ellipse([x - size, y - size, x + size, y + size], colour)

    def _x(self, number: int) -> float:
        """Of a value's number; the day's own is the last."""
        width = SIZE[0] - _LEFT - _RIGHT - 20
        return (_LEFT + 10 + width * number / len(self._line)) * _FINE

    def _y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return (SIZE[1] - _BOTTOM - share * (SIZE[1] - _TOP - _BOTTOM)) * _FINE
