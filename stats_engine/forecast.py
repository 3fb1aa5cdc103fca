"""One-step forecasts of a job's statistics, and how surprising a day's value is (temporal rules, ST-17)."""

import numpy as np
import numpy.typing as npt

from pinflow.stats_engine.outlook import outlook
from pinflow.stats_engine.smoothing import Floats
from pinflow.stats_engine.special_days import Days


def score(dates: Days, history: Floats, candidates: Floats, country: str) -> Floats:
    """How surprising each candidate value would be on the last of `dates`: minus the logarithm to 10 of its odds."""
    days = np.asarray(dates, dtype="datetime64[D]")
    return -np.log10(
        outlook(days[:-1], np.asarray(history, dtype=float), days[-1], country).odds(
            np.asarray(candidates, dtype=float)
        )
    )
