"""The table of the Trainer's arguments against the installed Lightning."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_args

from zoopraxis.config.trainer import RESERVED_ARGUMENTS, Precision, TrainerArguments


def test_the_arguments_are_those_of_the_installed_lightning() -> None:
    from lightning.pytorch import Trainer

    lightning_arguments = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    ours = {field.name for field in fields(TrainerArguments)}
    assert ours | set(RESERVED_ARGUMENTS) == lightning_arguments
    assert not ours & set(RESERVED_ARGUMENTS)


def test_the_precisions_are_those_of_the_installed_lightning() -> None:
    from lightning.fabric.plugins.precision.precision import (
        _PRECISION_INPUT_INT,
        _PRECISION_INPUT_STR,
        _PRECISION_INPUT_STR_ALIAS,
    )

    known = {*get_args(_PRECISION_INPUT_INT), *get_args(_PRECISION_INPUT_STR), *get_args(_PRECISION_INPUT_STR_ALIAS)}
    assert set(get_args(Precision)) == known
