"""NumPy in, numbers out: result files, accuracies, fusion, reports. Knows no data set, no network and no torch."""

from zoopraxis.evaluation.accuracy import (
    check_labels,
    class_mean_accuracy,
    confusion_matrix,
    head_accuracies,
    per_class_accuracy,
    top_k_accuracy,
    wilson_interval,
)
from zoopraxis.evaluation.actions import TopActions, action_hits, published_top_actions, top_actions
from zoopraxis.evaluation.fusion import fuse
from zoopraxis.evaluation.metrics import Metric, MetricTable, accuracy_metric, classification_metrics
from zoopraxis.evaluation.probabilities import log_softmax, reliability
from zoopraxis.evaluation.ranking import class_ranks, top_k_classes
from zoopraxis.evaluation.results import RESULTS_SUFFIXES, Results, load_results, save_results

__all__ = [
    "RESULTS_SUFFIXES",
    "Metric",
    "MetricTable",
    "Results",
    "TopActions",
    "accuracy_metric",
    "action_hits",
    "check_labels",
    "class_mean_accuracy",
    "class_ranks",
    "classification_metrics",
    "confusion_matrix",
    "fuse",
    "head_accuracies",
    "load_results",
    "log_softmax",
    "per_class_accuracy",
    "published_top_actions",
    "reliability",
    "save_results",
    "top_actions",
    "top_k_accuracy",
    "top_k_classes",
    "wilson_interval",
]
