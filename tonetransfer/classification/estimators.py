"""Random forest, support vector machine and small heads on vectors (descriptors, embeddings), all as modules of plain tensors.

scikit-learn finds trees and support vectors; what it finds is stored as numbers and evaluated here in a few lines. A file then holds no
objects: nothing runs when it is opened, and no version of scikit-learn is needed to read it, which pickle, joblib and skops all ask for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import nn

LEAST = 1e-4  # smallest probability before its logarithm


class Standard(nn.Module):
    """Vectors with mean 0 and deviation 1 over what was learned from; outliers are held at 8 deviations."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("deviation", torch.ones(n_features))

    def adapt(self, features: torch.Tensor) -> None:
        """Take mean and deviation from features (n_windows, n_features)."""
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0).clamp(min=1e-5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x - self.mean) / self.deviation).clamp(-8.0, 8.0)


class VectorHead(nn.Module):
    """A linear layer, or a small MLP, on frozen embeddings or descriptors."""

    def __init__(self, shape: tuple[int], n_classes: int, *, hidden: int = 0, dropout: float = 0.3) -> None:
        super().__init__()
        self.standard = Standard(shape[0])
        self.layers = nn.Sequential(
            *((nn.Linear(shape[0], hidden), nn.ReLU(), nn.Dropout(dropout)) if hidden else (nn.Dropout(dropout),)),
            nn.Linear(hidden or shape[0], n_classes),
        )

    def adapt(self, features: torch.Tensor) -> None:
        """Statistics of the features that will be learned from."""
        self.standard.adapt(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(self.standard(x))


class Estimator(nn.Module, ABC):
    """A module whose tensors come from scikit-learn instead of gradient descent."""

    def __init__(self, multi: bool = False) -> None:
        super().__init__()
        self.multi = multi

    @abstractmethod
    def learn(self, features: torch.Tensor, targets: torch.Tensor, *, seed: int) -> None:
        """Fit to features (n_windows, n_features) and targets (n_windows, n_classes) of 0 and 1."""

    def sound(self) -> bool:
        """True if its tensors can be evaluated: a file from elsewhere might hold anything."""
        return True

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Buffers take the sizes that were stored: how many nodes a tree has is known afterwards only."""
        for name, _ in self.named_buffers(recurse=False):
            if prefix + name in state:
                self.register_buffer(name, torch.empty_like(state[prefix + name]))
        super()._load_from_state_dict(state, prefix, *rest)


class Forest(Estimator):
    """Random forest (Breiman, 2001): trees as arrays, all walked at once, with at least `least_samples` windows in a leaf."""

    feature: torch.Tensor
    threshold: torch.Tensor
    branches: torch.Tensor
    share: torch.Tensor
    roots: torch.Tensor

    def __init__(self, shape: tuple[int], n_classes: int, *, n_trees: int = 200, least_samples: int = 2, multi: bool = False) -> None:
        super().__init__(multi)
        self.n_trees, self.least_samples, self.n_features = n_trees, least_samples, shape[0]
        self.register_buffer("feature", torch.zeros(1, dtype=torch.int32))  # (n_nodes,), -1 in a leaf
        self.register_buffer("threshold", torch.zeros(1))  # (n_nodes,)
        self.register_buffer("branches", torch.zeros(1, 2, dtype=torch.int32))  # (n_nodes, 2): at most the threshold, above it
        self.register_buffer("share", torch.zeros(1, n_classes, dtype=torch.float16))  # (n_nodes, n_classes)
        self.register_buffer("roots", torch.zeros(1, dtype=torch.int32))  # (n_trees,)

    def learn(self, features: torch.Tensor, targets: torch.Tensor, *, seed: int) -> None:
        from sklearn.ensemble import RandomForestClassifier

        known = targets.numpy().astype(int) if self.multi else targets.argmax(1).numpy()
        forest = RandomForestClassifier(
            self.n_trees, min_samples_leaf=self.least_samples, max_features="sqrt", class_weight="balanced", random_state=seed, n_jobs=1
        ).fit(features.numpy(), known)
        trees = [one.tree_ for one in forest.estimators_]
        roots = np.cumsum([0] + [tree.node_count for tree in trees])[:-1]
        leaf = np.concatenate([tree.children_left for tree in trees]) < 0
        pairs = [np.stack([tree.children_left, tree.children_right], 1) + root for tree, root in zip(trees, roots, strict=True)]
        self.feature = torch.from_numpy(np.where(leaf, -1, np.concatenate([tree.feature for tree in trees])).astype(np.int32))
        self.threshold = torch.from_numpy(np.concatenate([tree.threshold for tree in trees]))
        self.branches = torch.from_numpy(np.where(leaf[:, None], 0, np.concatenate(pairs)).astype(np.int32))
        self.share = torch.from_numpy(self._shares(np.concatenate([tree.value for tree in trees]), targets.shape[1], forest)).half()
        self.roots = torch.from_numpy(roots.astype(np.int32))

    def sound(self) -> bool:
        own = torch.arange(len(self.feature))
        inner = self.feature >= 0
        onward = self.branches[inner].long()  # children come after their parent, so every walk ends
        ends = bool((onward > own[inner][:, None]).all() and (onward < len(own)).all())
        rooted = bool(((self.roots >= 0) & (self.roots < len(own))).all())
        sizes = {len(tensor) for tensor in (self.feature, self.threshold, self.branches, self.share)}
        return ends and rooted and len(sizes) == 1 and int(self.feature.max()) < self.n_features

    def _shares(self, values: np.ndarray, n_classes: int, forest: Any) -> np.ndarray:
        """Shares of the classes in each node from scikit-learn's values (n_nodes, n_outputs, n_values)."""
        values = values / np.maximum(values.sum(-1, keepdims=True), 1e-12)
        shares = np.zeros((len(values), n_classes), np.float32)
        if not self.multi:
            shares[:, forest.classes_] = values[:, 0]
            return shares
        for output, known in enumerate(forest.classes_):
            if 1 in known:
                shares[:, output] = values[:, output, list(known).index(1)]
        return shares

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        node = self.roots.long().expand(len(x), -1)  # (n_windows, n_trees)
        x = x.float()  # as scikit-learn compares: features in single, thresholds in double precision
        while bool(((feature := self.feature[node].long()) >= 0).any()):
            above = x.gather(1, feature.clamp(min=0)).double() > self.threshold[node]
            following = torch.where(above, self.branches[node][..., 1], self.branches[node][..., 0]).long()
            node = torch.where(feature >= 0, following, node)
        share = self.share[node].float().mean(1).clamp(LEAST, 1.0 - LEAST)
        return torch.logit(share) if self.multi else share.log()


class SupportVectors(Estimator):
    """One support vector machine with a Gaussian kernel a class, each against the rest, its distance read as a probability (Platt, 1999).

    `cost` is that of a window on the wrong side, `width` that of the kernel, times the usual 1 / n_features.
    """

    vectors: torch.Tensor
    weights: torch.Tensor
    offset: torch.Tensor
    gamma: torch.Tensor
    slope: torch.Tensor

    def __init__(self, shape: tuple[int], n_classes: int, *, cost: float = 10.0, width: float = 1.0, multi: bool = False) -> None:
        super().__init__(multi)
        self.cost, self.width = cost, width
        self.standard = Standard(shape[0])
        self.register_buffer("vectors", torch.zeros(1, shape[0]))  # (n_vectors, n_features)
        self.register_buffer("weights", torch.zeros(n_classes, 1))  # (n_classes, n_vectors)
        self.register_buffer("offset", torch.zeros(n_classes))
        self.register_buffer("gamma", torch.ones(1))
        self.register_buffer("slope", torch.ones(1))  # of the distance, so that it reads as a logarithm of odds

    def learn(self, features: torch.Tensor, targets: torch.Tensor, *, seed: int) -> None:
        self.standard.adapt(features)
        x, known = self.standard(features).numpy(), targets.numpy() > 0.5
        self.gamma = torch.tensor([self.width / x.shape[1]])
        held_out = np.random.default_rng(seed).random(len(x)) < 0.2
        if all(part.any(0).all() and not part.all(0).any() for part in (known[held_out], known[~held_out])):
            self._store(x[~held_out], known[~held_out])
            self.slope = self._slope(torch.from_numpy(x[held_out]), torch.from_numpy(known[held_out]))
        self._store(x, known)

    def _store(self, x: np.ndarray, known: np.ndarray) -> None:
        from sklearn.svm import SVC

        weights, offset = np.zeros((known.shape[1], len(x)), np.float32), np.zeros(known.shape[1], np.float32)
        for row, positive in enumerate(known.T):
            machine = SVC(C=self.cost, gamma=float(self.gamma), class_weight="balanced", cache_size=500).fit(x, positive)
            weights[row, machine.support_], offset[row] = machine.dual_coef_[0], machine.intercept_[0]
        used = np.abs(weights).any(0)
        self.vectors, self.weights = torch.from_numpy(x[used]), torch.from_numpy(np.ascontiguousarray(weights[:, used]))
        self.offset = torch.from_numpy(offset)

    def _slope(self, x: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """The factor under which held-out windows are most probable; a grid suffices for one number."""
        distance = self._distance(x)
        losses = {}
        for slope in np.geomspace(0.5, 20.0, 40):
            if self.multi:
                losses[slope] = float(nn.functional.binary_cross_entropy_with_logits(slope * distance, known.float()))
            else:
                losses[slope] = float(nn.functional.cross_entropy(slope * distance, known.float().argmax(1)))
        return torch.tensor([min(losses, key=lambda slope: losses[slope])], dtype=torch.float32)

    def _distance(self, x: torch.Tensor) -> torch.Tensor:
        kernel = torch.exp(-self.gamma * torch.cdist(x, self.vectors).square())
        return kernel @ self.weights.T + self.offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.slope * self._distance(self.standard(x.float()))
