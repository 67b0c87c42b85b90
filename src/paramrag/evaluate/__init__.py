"""Question files -> questions; predictions -> scores with intervals; runs -> comparisons. Never imports torch."""

import sys
from types import ModuleType
from typing import Any

from .asking import oracle, query_of
from .compare import Comparison, compare
from .datasets import load_questions
from .metrics import METRICS, Metric, metric, metrics_for
from .metrics.judge import Judge
from .noise import AnyPassage, OtherQuestions
from .passage_log import read_passages
from .questions import JudgedPassage, Question
from .run_directory import read_run, read_run_samples
from .runner import AskMany, evaluate
from .samples import Sample
from .statistics import Estimate, McNemar, bootstrap_mean, mcnemar, paired_difference, wilson
from .summary import ModeSummary, Summary, retrieval_of

__all__ = [
    "METRICS",
    "AnyPassage",
    "AskMany",
    "Comparison",
    "Estimate",
    "Judge",
    "JudgedPassage",
    "McNemar",
    "Metric",
    "ModeSummary",
    "OtherQuestions",
    "Question",
    "Sample",
    "Summary",
    "bootstrap_mean",
    "compare",
    "evaluate",
    "load_questions",
    "mcnemar",
    "metric",
    "metrics_for",
    "oracle",
    "paired_difference",
    "query_of",
    "read_passages",
    "read_run",
    "read_run_samples",
    "retrieval_of",
    "wilson",
]


class _Room(ModuleType):
    """`paramrag.evaluate` is this package and, as the package's API promises, the function of the same name."""

    def __call__(self, *arguments: Any, **options: Any) -> Summary:
        return evaluate(*arguments, **options)


# Python binds a submodule over any function of its name in the parent package; so the module answers to both.
sys.modules[__name__].__class__ = _Room
