"""What a training run shows of its network as it goes: scores and pictures of validation images."""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from lnln_jax.evaluation.file_names import file_name
from lnln_jax.evaluation.measure import evaluate
from lnln_jax.evaluation.results import Result
from lnln_jax.evaluation.test_sets import Benchmark
from lnln_jax.images.resize import imresize
from lnln_jax.inference.network import NetworkUpscaler
from lnln_jax.runtime.distributed import gather, is_primary
from lnln_jax.runtime.files import writing
from lnln_jax.training.clock import Clock
from lnln_jax.training.experiment import Experiment
from lnln_jax.training.log import RunReport
from lnln_jax.training.state import TrainState


@dataclass(frozen=True)
class Look:
    """Validation and pictures of a network while it is trained, if there is the time for them."""

    experiment: Experiment
    benchmark: Benchmark | None
    clock: Clock
    folder: Path

    def expects(self, seconds: float) -> None:
        """Notes the time that a validation or a picture may take, before there has been one."""
        self.clock.took = dict.fromkeys(("validation", "picture"), seconds)

    def at_the_end(self, near: bool) -> float:
        """Returns the seconds that the validation of the last step takes, if that is near."""
        return self.clock.took["validation"] if near and self.benchmark is not None else 0.0

    def at(
        self, state: TrainState, step: int, due: set[str], ahead: float, report: RunReport
    ) -> dict[str, float]:
        """Validates and draws what is due, and returns the scores, if any.

        Args:
          state: state after `step`.
          step: number of steps taken.
          due: what is to be done, of "validation" and "picture".
          ahead: seconds that must be left afterwards, but for the last checkpoint.
          report: where scores and pictures are written.

        Raises:
          ValueError: the network returns NaN.
        """
        if self.benchmark is None or not due & {"validation", "picture"}:
            return {}
        model, module = self.experiment.config.model, self.experiment.module
        variables = self.experiment.layout.local(state.averaged)
        network = NetworkUpscaler(model.name, model.scale, module, variables)
        scores: dict[str, float] = {}
        if "validation" in due:
            scores = self._validate(network, self.benchmark, step, ahead, report)
        if "picture" in due and is_primary() and not self._late("picture", ahead):
            with self.clock.timing("picture"):
                self._draw(network, self.benchmark, step, report)
        return scores

    def _late(self, what: str, ahead: float) -> bool:
        return self.clock.over(ahead + self.clock.took[what])

    def _validate(
        self,
        network: NetworkUpscaler,
        benchmark: Benchmark,
        step: int,
        ahead: float,
        report: RunReport,
    ) -> dict[str, float]:
        """Returns the mean Y-PSNR and SSIM on the benchmark; nothing where the time ends before."""
        results: list[Result] = []
        if not (self.clock.runs and gather([self._late("validation", ahead)]).any()):
            give_up = self.clock.over if jax.process_count() == 1 else None
            with self.clock.timing("validation"):
                results = evaluate([network], benchmark, give_up=give_up)
        if not results:
            report.event(step, "not_validated", "the time limit is near")
            return {}
        scores = {"psnr_y": results[0].psnr, "ssim_y": results[0].ssim}
        report.write(step, scores, prefix="validation")
        return scores

    def _draw(
        self, network: NetworkUpscaler, benchmark: Benchmark, step: int, report: RunReport
    ) -> None:
        """Writes the benchmark's first image: by bicubic, by the network, and the original."""
        image, folder = next(iter(benchmark)), self.folder / "samples"
        bicubic, sr = imresize(image.lr, benchmark.scale), network.upscale(image.lr)
        row = np.concatenate([bicubic, sr, image.hr], axis=1)
        report.picture(step, "bicubic_network_original", row)
        with writing("a sample", folder):
            folder.mkdir(exist_ok=True)
            Image.fromarray(row).save(folder / f"{step:07d}_{file_name(image.name)}.png")
