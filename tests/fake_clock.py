"""A stand-in for the module ``time`` where a command waits: it waits for no real second."""

from __future__ import annotations


class Clock:
    """Seconds that pass while a command sleeps; something happens in each of the first ``busy`` ones."""

    def __init__(self, busy, happens):
        self.now, self.busy, self.happens = 0.0, busy, happens

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        if self.now <= self.busy:
            self.happens(int(self.now))
