"""Image networks as feature extractors of clips, and the places in them where temporal modules go."""

from zoopraxis.backbones.image import ImageBackbone, create_image_backbone
from zoopraxis.backbones.inject import ClipLength, Place, inject
from zoopraxis.backbones.sites import SITES, find_blocks

__all__ = ["SITES", "ClipLength", "ImageBackbone", "Place", "create_image_backbone", "find_blocks", "inject"]
