"""The corpus that `paramrag demo` runs on: forty passages of an invented country, questions, training items."""

from .loader import DemoQuestion, QuestionKind, demo_items, demo_passages, demo_questions

__all__ = ["DemoQuestion", "QuestionKind", "demo_items", "demo_passages", "demo_questions"]
