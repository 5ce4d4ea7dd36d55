"""The configuration: pure, text and mappings in, frozen models or a list of problems out."""

from npmmirror.config.effective import Effective, effective
from npmmirror.config.problems import ConfigurationError
from npmmirror.config.sections import (
    BufferSection,
    Config,
    FetchSection,
    FollowSection,
    KafkaSection,
    LogSection,
    PolicySection,
    StorageSection,
    UpstreamSection,
    base_url,
    registry_of_feed,
)
from npmmirror.config.sources import ConfigFile

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
    "StorageSection",
    "UpstreamSection",
    "base_url",
    "effective",
    "registry_of_feed",
]
