"""From a raw prediction to percentiles, and to a value without shrinkage."""
