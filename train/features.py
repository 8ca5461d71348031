"""How far an image lies from those a member has learnt from, in its last hidden layer. N images, F features.

The distance is Mahalanobis's under the covariance of the training galaxies (Lee et al. 2018, arXiv:1807.03888), shrunk
towards a sphere as Ledoit & Wolf (2004) have it: with few galaxies most directions have hardly any variance measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

_ROWS_AT_ONCE = 64
LIMIT_QUANTILE = 0.99
"""Of held-out galaxies, so many have a distance below 1."""


@dataclass(frozen=True, kw_only=True)
class FeatureSpace:
    """Where the training galaxies lie: their mean, what makes their covariance a unit sphere, and what is far."""

    mean_F: NDArray[np.float32]
    whitening_FF: NDArray[np.float32]
    limit: float

    def distance(self, features_NF: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the distances (N,), in units of the limit. Each depends on its own features alone."""
        out_N = np.empty(len(features_NF), np.float32)
        for first in range(0, len(features_NF), _ROWS_AT_ONCE):
            rows_NF = features_NF[first : first + _ROWS_AT_ONCE] - self.mean_F
            # Always as many rows: a matrix product of another shape may add in another order.
            padded_NF = np.pad(rows_NF, ((0, _ROWS_AT_ONCE - len(rows_NF)), (0, 0)))
            white_NF = padded_NF @ self.whitening_FF
            out_N[first : first + len(rows_NF)] = np.sqrt((white_NF * white_NF).sum(axis=1))[: len(rows_NF)]
        return out_N / np.float32(self.limit)

    def to_bytes(self) -> bytes:
        """Return a safetensors file."""
        limit = np.array([self.limit], np.float32)
        return bytes(save({"mean": self.mean_F, "whitening": self.whitening_FF, "limit": limit}))

    @classmethod
    def from_bytes(cls, data: bytes) -> FeatureSpace:
        """Return what the file holds; raise ValueError where it is none, or not finite."""
        try:
            tensors = load(data)
            mean_F, whitening_FF, limit = tensors["mean"], tensors["whitening"], float(tensors["limit"][0])
        except Exception as error:  # safetensors' own errors derive from Exception alone
            raise ValueError(f"{error}") from error
        is_finite = np.isfinite(whitening_FF).all() and np.isfinite(mean_F).all() and 0 < limit < np.inf
        if whitening_FF.shape != (len(mean_F), len(mean_F)) or not is_finite:
            raise ValueError("it holds other values than a feature space")
        return cls(mean_F=mean_F, whitening_FF=whitening_FF, limit=limit)


def fit_feature_space(train_NF: NDArray[np.float32], held_out_NF: NDArray[np.float32]) -> FeatureSpace:
    """Return the space of some training galaxies; held-out ones say which distance is far."""
    features_NF = train_NF.astype(np.float64)
    mean_F = features_NF.mean(axis=0)
    covariance_FF = _shrunk_covariance(features_NF - mean_F)
    whitening_FF = np.linalg.cholesky(np.linalg.inv(covariance_FF))
    space = FeatureSpace(mean_F=mean_F.astype(np.float32), whitening_FF=whitening_FF.astype(np.float32), limit=1.0)
    far = float(np.quantile(space.distance(held_out_NF), LIMIT_QUANTILE)) if len(held_out_NF) else 1.0
    return FeatureSpace(mean_F=space.mean_F, whitening_FF=space.whitening_FF, limit=max(far, 1e-6))


def _shrunk_covariance(centred_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Ledoit & Wolf's (2004) mixture of the sample covariance and a sphere of the same mean variance."""
    num_rows, num_features = centred_NF.shape
    sample_FF = centred_NF.T @ centred_NF / num_rows
    variance = float(np.trace(sample_FF)) / num_features
    spread = float((sample_FF**2).sum()) / num_features - variance**2
    noise_N = (centred_NF**2).sum(axis=1) ** 2
    noise = (float(noise_N.mean()) - float((sample_FF**2).sum())) / (num_rows * num_features)
    share = min(max(noise / spread, 0.0), 1.0) if spread > 0 else 1.0
    sphere = max(variance, 1e-12)
    # A network that has hardly learnt has features that do not vary at all: the sphere keeps the matrix invertible.
    return np.asarray((1 - share) * sample_FF + max(share, 1e-6) * sphere * np.eye(num_features))
