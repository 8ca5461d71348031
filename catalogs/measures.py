"""The field's numbers, by which more than one folder judges."""

from __future__ import annotations

OH_RANGE = (6.0, 11.0)
"""No galaxy's 12+log(O/H) is outside: a number that is comes from a sentinel or another column."""
OUTLIER_DEX = 0.2
"""A prediction that is farther from the truth is an outlier."""
NMAD_SCALE = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""
