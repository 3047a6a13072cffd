from pathlib import Path

from lnln_jax.data.image_sets import open_images
from lnln_jax.data.prepare.origins import Origin, every_nth, origins_of
from lnln_jax.data.prepare.shard_plan import plan_shards
from tests.support.prepared import CUT, build, copy_images


def in_folder(folder: Path) -> list[Origin]:
    with open_images(folder) as images:
        return origins_of(images, images.names)


def test_few_shards_depend_on_one_image(data_dir):
    origins = in_folder(data_dir / "BSDS400")
    shards = {shard.name for shard in plan_shards("train", origins, CUT)}
    assert len(shards) > 16
    for changed in (
        origins[:100] + origins[101:],
        [*origins[:100], origins[100]._replace(stamp="mended"), *origins[101:]],
        [*origins[:100], origins[100]._replace(name="00.jpg"), *origins[100:]],
    ):
        others = {shard.name for shard in plan_shards("train", changed, CUT)}
        assert len(shards - others) <= 2


def test_the_estimate_of_space_is_near_what_is_taken(data_dir, tmp_path):
    images = copy_images(data_dir, tmp_path / "images", 9)
    prepared = build(images, tmp_path)
    parts = every_nth(in_folder(images), 4)
    planned = [
        shard
        for split, origins in zip(("train", "validation"), parts, strict=True)
        for shard in plan_shards(split, origins, CUT)
    ]
    assert 0.9 * prepared.size < sum(shard.estimate for shard in planned) < 1.8 * prepared.size
