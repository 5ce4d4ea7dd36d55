"""The configuration: pure, text and mappings in, frozen models or a list of problems out."""

from npmmirror.config.buffer import BufferSection, KafkaSection
from npmmirror.config.effective import Effective, effective
from npmmirror.config.policy import PolicySection
from npmmirror.config.problems import ConfigurationError
from npmmirror.config.sections import (
    Config,
    FetchSection,
    FollowSection,
    LogSection,
    StorageSection,
    UpstreamSection,
)
from npmmirror.config.server import ServerSection, is_own_address
from npmmirror.config.sources import ConfigFile
from npmmirror.config.values import base_url, registry_of_feed

__all__ = [
    "BufferSection",
    "Config",
    "ConfigFile",
    "ConfigurationError",
    "Effective",
    "FetchSection",
    "FollowSection",
    "KafkaSection",
    "LogSection",
    "PolicySection",
    "ServerSection",
    "StorageSection",
    "UpstreamSection",
    "base_url",
    "effective",
    "is_own_address",
    "registry_of_feed",
]
