"""TAdaConvNeXtV2: a ConvNeXt over clips whose kernels each frame calibrates.

# B clips, T frames, C channels

Source: Huang et al., Temporally-Adaptive Models for Efficient Video Understanding, 2023 (arXiv 2308.05787).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoopraxis.backbones.image import to_clip_kernel
from zoopraxis.backbones.tadaconvnext import TAdaConvNeXtV2
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.clip_classifier import ClipClassifier
from zoopraxis.models.clip_families import ClipFamily, enter_clip_family
from zoopraxis.models.inference import table
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.weights import KINETICS_400, SOMETHING_V2, Evaluation, PublishedWeights, enter_weights

__all__ = ["build_tadaconvnextv2"]

_MEAN, _STD = (0.45,), (0.225,)


@dataclass(frozen=True)
class _Variant:
    """A published size: channels and blocks of each stage, channels of a head of attention, and timm's network of that size."""

    dims: tuple[int, ...]
    depths: tuple[int, ...]
    head_dim: int
    image_network: str


_VARIANTS = {
    "tiny": _Variant((96, 192, 384, 768), (3, 3, 9, 3), 48, "convnext_tiny.fb_in1k"),
    "small": _Variant((96, 192, 384, 768), (3, 3, 27, 3), 48, "convnext_small.fb_in1k"),
    "base": _Variant((128, 256, 512, 1024), (3, 3, 27, 3), 64, "convnext_base.fb_in1k"),
}


def build_tadaconvnextv2(
    arguments: ModelArguments,
    *,
    dims: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    head_dim: int | None = None,
    ratio: int = 2,
    kernels: Sequence[int] = (3, 3),
    stem_kernel: int = 3,
    stem_stride: int = 2,
    drop_path: float = 0.0,
    layer_scale: float = 1e-6,
    has_temporal_pool: bool = True,
) -> ClipClassifier:
    """TAdaConvNeXtV2 for clips of any length; the published networks were trained with 16 and 32 frames.

    Started from a ConvNeXt's weights it scores each frame as that network does, but for its activation (x sigmoid(1.702 x) for
    the exact GELU), and pools frames and places before the last norm.

    Args:
        arguments: Those of every model; `backbone` is `tiny`, `small` or `base`.
        dims: Channels of each stage; none: as the variant has them.
        depths: Blocks of each stage; likewise.
        head_dim: Channels of a head in the routing functions' attention; likewise (tiny, small: 48; base: 64).
        ratio: Channels over hidden channels of the routing functions.
        kernels: Temporal sizes of their convolutions.
        stem_kernel: Frames that a patch of the stem spans, odd.
        stem_stride: Frames from one patch to the next.
        drop_path: Probability that a clip skips the last block, in training; rising evenly from 0 at the first. Published: 0.2
            (tiny), 0.4 (small) and 0.6 (base) on Kinetics-400, 0.3, 0.5 and 0.6 on Something-Something V2.
        layer_scale: What residual branches are multiplied by at birth; 0: there is no such factor.
        has_temporal_pool: Whether blocks add a norm of the average over neighboring frames.

    Raises:
        ConfigError: If an argument is out of range.
    """
    variant = _VARIANTS[arguments.backbone]
    if not 0 <= drop_path < 1:
        raise ConfigError(f"drop_path ({drop_path}) must be at least 0 and below 1")
    try:
        backbone = TAdaConvNeXtV2(
            dims=variant.dims if dims is None else dims,
            depths=variant.depths if depths is None else depths,
            head_dim=variant.head_dim if head_dim is None else head_dim,
            in_channels=arguments.preprocessing.in_channels,
            stem_kernel=stem_kernel,
            stem_stride=stem_stride,
            ratio=ratio,
            kernels=kernels,
            drop_path=drop_path,
            layer_scale=layer_scale,
            has_temporal_pool=has_temporal_pool,
        )
    except ValueError as error:
        raise ConfigError(f"tadaconvnextv2 cannot be built: {error}") from error
    return ClipClassifier(backbone, arguments)


def preprocessing_tadaconvnextv2(modality: Modality, *, num_segments: int = 16, segment_length: int = 1) -> Preprocessing:
    """What the published networks of Kinetics expect, for clips of any length: 16 frames, each 5th at 30 frames a second."""
    return Preprocessing(
        modality=modality,
        mean=_MEAN,
        std=_STD,
        num_segments=num_segments,
        segment_length=segment_length,
        sampling="interval",
        interval=5,
        antialias=False,
    )


_IMAGE_RULES = tuple(
    (re.compile(pattern), template)
    for pattern, template in (
        (r"stem\.(\d)\.(.+)", r"downsample_layers.0.\1.\2"),
        (r"stages\.(\d+)\.downsample\.(\d)\.(.+)", r"downsample_layers.\1.\2.\3"),
        (r"stages\.(\d+)\.blocks\.(\d+)\.conv_dw\.(.+)", r"stages.\1.\2.dwconv.\3"),
        (r"stages\.(\d+)\.blocks\.(\d+)\.mlp\.fc([12])\.(.+)", r"stages.\1.\2.pwconv\3.\4"),
        (r"stages\.(\d+)\.blocks\.(\d+)\.(norm\..+|gamma)", r"stages.\1.\2.\3"),
        (r"head\.norm\.(.+)", r"norm.\1"),
        (r"((?:downsample_layers|stages|norm)\..+)", r"\1"),
    )
)
"""From timm's keys of a ConvNeXt, and from those of its authors, to ours without `backbone.`."""
_FRESH = re.compile(r"backbone\.stages\.\d+\.\d+\.(?:dwconv_rf|norm_avgpool)\..+")
_HEAD = re.compile(r"(?:classifier|head|head\.fc)\.(?:weight|bias)")


def expand_convnext(model: VideoModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ConvNeXt's weights as initial ones: the stem's kernel on its middle frame, all others as they are.

    Of a stem for flow each channel's kernel is the mean of the image network's. Routing functions, the norms of averages over
    frames and the heads keep their own initial values.

    Args:
        model: The network that is to start from them.
        tensors: The image network's, in the keys of timm or of ConvNeXt's authors; its classifier is left out.

    Returns:
        Tensors of the network, under its keys.

    Raises:
        CheckpointError: If they are of another network, with what is missing, left over or of another shape.
    """
    expected = {
        key: value for key, value in model.state_dict().items() if key.startswith("backbone.") and not _FRESH.match(key)
    }
    given: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        name = _our_name(key)
        if name is not None and f"backbone.{name}" in expected:
            given[f"backbone.{name}"] = _to_clips(tensor, expected[f"backbone.{name}"])
        elif not _HEAD.fullmatch(key):
            raise CheckpointError(f"{key} is no part of a ConvNeXt of this size; name weights of one, e.g. convnext_tiny")
    for key, value in expected.items():
        if key not in given:
            raise CheckpointError(f"weights of a ConvNeXt lack what {key} starts from; name weights of one of this size")
        if given[key].shape != value.shape:
            raise CheckpointError(
                f"weights of a ConvNeXt give {key} the shape {tuple(given[key].shape)} where {tuple(value.shape)} is needed; "
                "name weights of one of this size"
            )
    return given


def _our_name(key: str) -> str | None:
    matches = ((pattern.fullmatch(key), template) for pattern, template in _IMAGE_RULES)
    return next((match.expand(template) for match, template in matches if match), None)


def _to_clips(tensor: Tensor, like: Tensor) -> Tensor:
    """An image network's tensor with the axes of ours: of the operator's two leading ones, or of time."""
    if like.ndim == tensor.ndim + 2:
        return tensor[None, None]
    if like.ndim != 5 or tensor.ndim != 4:
        return tensor
    return to_clip_kernel(tensor, in_channels=like.shape[1], num_frames=like.shape[2])


MODELS.register("tadaconvnextv2")(
    ModelKind(
        "TAdaConvNeXtV2",
        build_tadaconvnextv2,
        dropout=0.5,
        partial_bn=False,
        preprocessing=preprocessing_tadaconvnextv2,
        variants=tuple(_VARIANTS),
        num_segments=16,
        image_networks={name: variant.image_network for name, variant in _VARIANTS.items()},
        expand=expand_convnext,
    )
)

_STEM = "backbone.downsample_layers.0.0.weight"
_ROUTE = "backbone.stages.0.0.dwconv_rf"
_BLOCK = re.compile(r"backbone\.stages\.(\d+)\.(\d+)\.dwconv\.weight")


def _tells(tensors: Mapping[str, Tensor]) -> bool:
    return _STEM in tensors and f"{_ROUTE}.qkv_proj.weight" in tensors


def _infer(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The variant of the same sizes, else the default's, and the arguments in which the network differs from it."""
    blocks = sorted((int(match[1]), int(match[2])) for key in tensors if (match := _BLOCK.fullmatch(key)))
    stages = sorted({stage for stage, _ in blocks})
    dims = tuple(int(tensors[f"backbone.stages.{stage}.0.dwconv.weight"].shape[2]) for stage in stages)
    depths = tuple(sum(number == stage for number, _ in blocks) for stage in stages)
    hidden, channels, first = tensors[f"{_ROUTE}.a.weight"].shape[:3]
    video = table(table(settings.get("VIDEO")).get("BACKBONE"))
    stem, branch = table(video.get("STEM")), table(video.get("BRANCH"))
    found = {
        "dims": dims,
        "depths": depths,
        "head_dim": branch.get("HEAD_DIM") or _head_dim(hidden),
        "ratio": channels // hidden,
        "kernels": (first, int(tensors[f"{_ROUTE}.b.weight"].shape[2])),
        "stem_kernel": int(tensors[_STEM].shape[2]),
        "stem_stride": stem.get("T_STRIDE", 2),
        "drop_path": video.get("DROP_PATH", 0.0),
        "layer_scale": video.get("LARGE_SCALE_INIT_VALUE", 1e-6) if "backbone.stages.0.0.gamma" in tensors else 0.0,
        "has_temporal_pool": "backbone.stages.0.0.norm_avgpool.weight" in tensors,
    }
    usual: dict[str, Any] = {
        "ratio": 2,
        "kernels": (3, 3),
        "stem_kernel": 3,
        "stem_stride": 2,
        "drop_path": 0.0,
        "layer_scale": 1e-6,
        "has_temporal_pool": True,
    }
    sizes = (name for name, variant in _VARIANTS.items() if (variant.dims, variant.depths) == (dims, depths))
    backbone = next(sizes, next(iter(_VARIANTS)))
    usual |= {name: getattr(_VARIANTS[backbone], name) for name in ("dims", "depths", "head_dim")}
    return {"backbone": backbone} | {name: value for name, value in found.items() if value != usual[name]}


def _head_dim(hidden: int) -> int:
    """Of a first stage with so many hidden channels, where no configuration tells it: a published width, or one head."""
    return next((width for width in (64, 48) if hidden % width == 0), hidden)


enter_clip_family(ClipFamily(model="tadaconvnextv2", tells=_tells, infer=_infer))

_KINETICS = dataclasses.replace(preprocessing_tadaconvnextv2("rgb"), size=256)
_SOMETHING = dataclasses.replace(_KINETICS, sampling="segments_tadaconv", interval=1)
_INTERVALS = {16: 5, 32: 2}
"""By frames; of 32 none is published, and a span as of 64 consecutive frames is taken: the file's own configuration tells."""
_SOURCE = "TAdaConv authors' repository (pytorch-video-understanding), projects/tadaconvv2"
_PARAMETERS = {"tiny": 45_663_888, "small": 81_941_520, "base": 145_277_632}
"""Of the backbones."""
_GMACS = {
    ("tiny", 16): 46.99247616,
    ("tiny", 32): 93.985800192,
    ("small", 16): 91.289880576,
    ("small", 32): 182.58149376,
    ("base", 16): 161.295015936,
    ("base", 32): 322.592342016,
}
"""Of the backbones, one view of 256 px."""


def _weights(
    variant: str, num_frames: int, top1: float, drive_file: str, *, is_kinetics: bool, init: str = ""
) -> PublishedWeights:
    """Kinetics: 4 clips of three crops each; Something-Something: 2. Probabilities are added up."""
    data, tag, classes = (KINETICS_400, "kinetics", 400) if is_kinetics else (SOMETHING_V2, "sthv2", 174)
    preprocessing = dataclasses.replace(_KINETICS, interval=_INTERVALS[num_frames]) if is_kinetics else _SOMETHING
    head = classes * _VARIANTS[variant].dims[-1]
    evaluation = Evaluation(
        accuracy={"val/label@1": top1},
        num_frames=num_frames,
        size=256,
        num_clips=4 if is_kinetics else 2,
        num_crops=3,
        average="prob",
    )
    return PublishedWeights(
        name=f"tadaconvnextv2_{variant}.{tag}_{num_frames}f{init}",
        page=f"https://drive.google.com/file/d/{drive_file}/view?usp=sharing",
        model={"name": "tadaconvnextv2", "backbone": variant, "heads": {"label": classes}, "num_segments": num_frames},
        num_parameters=_PARAMETERS[variant] + head + classes,
        gmacs=_GMACS[variant, num_frames] + head / 1e9,
        preprocessing=dataclasses.replace(preprocessing, num_segments=num_frames),
        data=data,
        evaluations=(evaluation,),
        source=_SOURCE,
    )


enter_weights(
    _weights("tiny", 16, 79.6, "1_jkIOP8kYeMzgEGyVznDKXNRG2tSEOkV", is_kinetics=True),
    _weights("tiny", 32, 80.8, "1FSpmNgDETQ0WchABBUgpTLG9q3N9xBHN", is_kinetics=True),
    _weights("small", 16, 80.8, "12R74tV2-VRRUxrH0Tubki5voRSCbR3F1", is_kinetics=True),
    _weights("small", 32, 81.9, "15GDqJZSgy5fQ8gHgq3mEru_rWghelzP3", is_kinetics=True),
    _weights("small", 32, 82.9, "1yM-OHpzNOu0180vogZxiMDk9x45SlFFF", is_kinetics=True, init="_in21k"),
    _weights("base", 16, 81.4, "1rtapp_GzQHe6CBrhcNfe4wuBAS106uIk", is_kinetics=True),
    _weights("base", 32, 82.3, "1_VcPSEa4xd1npk1HMVihmXwzRsjk5xGd", is_kinetics=True),
    _weights("base", 32, 83.7, "1yyCKDa144iL1TsibNDFHaNW0dap2Xjpz", is_kinetics=True, init="_in21k"),
    _weights("tiny", 16, 67.2, "1IZaJ4EDrniK4ZxVYnl_2Y6qpx1F6UjqY", is_kinetics=False),
    _weights("tiny", 32, 69.8, "1WDJ5iMyR9VTkfeIoZwICtiJ8BSQ8u4gp", is_kinetics=False),
    _weights("small", 16, 68.4, "1X94evPniWrjJfs38-SKPWehVZtYD3Xu7", is_kinetics=False),
    _weights("small", 32, 70.0, "17TP1v1el5hNBoyNPmTa5Zi_6ZrVJ7oi5", is_kinetics=False),
    _weights("small", 32, 70.6, "1plKqnNGnDD5JpPZ_c8K8TZKTvynbrEg8", is_kinetics=False, init="_in21k"),
    _weights("base", 32, 71.1, "1IIVxJlstPIVA9xunThZrp9RztBzsPyd6", is_kinetics=False, init="_in21k"),
)
