"""All settings of a run, as one tree of frozen models.

`FlywheelConfig` is the parameter of the `run_flywheel` flow, so the run form of the Prefect UI is made from it:
every field has a description, a unit where it has one, bounds, and a default that works. Nothing here reads a file
or the environment; `flywheel.overrides` merges YAML files and `key.path=value` settings over a tree.

Secrets never stand here. What needs one names the environment variable or the block that holds it.
"""

from flywheel.config.analysis import (
    AnalysisConfig,
    HistoryConfig,
    PriceConfig,
    ProductionEndpointConfig,
    ThresholdsConfig,
    WorkloadThresholds,
)
from flywheel.config.base import Settings
from flywheel.config.data import (
    DataSplitConfig,
    DedupConfig,
    LeakageConfig,
    LogsConfig,
    SemanticDedupConfig,
    SemanticLeakageConfig,
    ValidationConfig,
)
from flywheel.config.decision import DecisionConfig
from flywheel.config.endpoints import EmbedderConfig
from flywheel.config.judge import JudgeConfig, JudgeMetricConfig
from flywheel.config.metrics import ArgumentConfig, CustomMetricConfig, MetricsConfig
from flywheel.config.models import CandidateConfig, EvaluationConfig, IclConfig, LoraConfig, TrainingConfig
from flywheel.config.platforms import CustomizerConfig, DeploymentConfig
from flywheel.config.redaction import RedactionConfig
from flywheel.config.run import ConnectionsConfig, FlywheelConfig
from flywheel.config.schedule import BudgetConfig, WindowConfig

__all__ = [
    "AnalysisConfig",
    "ArgumentConfig",
    "BudgetConfig",
    "CandidateConfig",
    "ConnectionsConfig",
    "CustomMetricConfig",
    "CustomizerConfig",
    "DataSplitConfig",
    "DecisionConfig",
    "DedupConfig",
    "DeploymentConfig",
    "EmbedderConfig",
    "EvaluationConfig",
    "FlywheelConfig",
    "HistoryConfig",
    "IclConfig",
    "JudgeConfig",
    "JudgeMetricConfig",
    "LeakageConfig",
    "LogsConfig",
    "LoraConfig",
    "MetricsConfig",
    "PriceConfig",
    "ProductionEndpointConfig",
    "RedactionConfig",
    "SemanticDedupConfig",
    "SemanticLeakageConfig",
    "Settings",
    "ThresholdsConfig",
    "TrainingConfig",
    "ValidationConfig",
    "WindowConfig",
    "WorkloadThresholds",
]
