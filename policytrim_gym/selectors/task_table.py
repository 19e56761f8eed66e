"""The same horizon and playback rate throughout a task, another for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policytrim_gym.replan import HorizonChoice, ReplanContext, check_rate
from policytrim_gym.selectors.selector import HorizonSelector


class TaskTableSelector(HorizonSelector):
    """Looks a task's fixed choice up by its instruction.

    The honest control for a learned selector of several tasks: what it has to beat is not one fixed pair but the best fixed pair of each
    task, which needs no training (`evaluation/task_table.py` chooses them). Unlike the rules it never looks at a chunk.

    Args:
        table: instruction -> choice.
        default: for an instruction that the table lacks, and for observations without any.
        name: what tables call it; give two tables two names.

    Raises:
        InvalidSpec: a playback rate that is not above 0.

    >>> selector = TaskTableSelector({"reach": HorizonChoice(32, 2.0)}, default=HorizonChoice(8))
    >>> selector.select([ReplanContext({"instruction": "reach"}, None), ReplanContext({"instruction": "push"}, None)])
    [HorizonChoice(execute_horizon=32, playback_rate=2.0), HorizonChoice(execute_horizon=8, playback_rate=1.0)]
    """

    def __init__(self, table: Mapping[str, HorizonChoice], default: HorizonChoice, name: str = "pair of each task") -> None:
        self.table = {instruction: HorizonChoice(*choice) for instruction, choice in table.items()}
        self.default = HorizonChoice(*default)
        self._name = name
        for choice in self.choices:
            check_rate(choice.playback_rate)

    @property
    def name(self) -> str:
        return self._name

    @property
    def choices(self) -> tuple[HorizonChoice, ...]:
        return tuple(sorted({*self.table.values(), self.default}))

    def select(self, contexts: Sequence[ReplanContext]) -> list[HorizonChoice]:
        return [self.table.get(context.observation.get("instruction", ""), self.default) for context in contexts]
