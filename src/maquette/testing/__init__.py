"""The contracts that families of models and modalities meet: for ours, and for a user's own.

    from maquette.testing import check_model, column_spec, data_spec
    check_modality("my_package.my_modality")
    target, label = column_spec("my_package.my_modality", 1, 16, 16), column_spec("label", classes=3)
    check_model("my_package.my_family", data_spec(target, label=label))

They raise ContractError with the first check that fails; else the result says what passed, and what was skipped and
why.
With pytest, each check is a test of its own:

    @pytest.mark.parametrize("check", model_checks("my_family", spec), ids=str)
    def test_contract(check):
        outcome = check.run()
        if isinstance(outcome, Skipped):
            pytest.skip(outcome.reason)
"""

from maquette.testing.checks import Check, ContractError, Passed, Result, Skipped
from maquette.testing.modalities import check_modality, modality_checks
from maquette.testing.models import check_model, model_checks
from maquette.testing.specs import column_spec, data_spec, made_up_batch

__all__ = [
    "Check", "ContractError", "Passed", "Result", "Skipped", "check_modality", "check_model", "column_spec",
    "data_spec", "made_up_batch", "modality_checks", "model_checks",
]  # fmt: skip
