"""A sample production log to try the flywheel on, generated from a seed."""

from flywheel.sample.generator import APP_CLIENT, WEB_CLIENT, write_sample_log
from flywheel.sample.router import WORKLOAD as ROUTER_WORKLOAD

__all__ = ["APP_CLIENT", "ROUTER_WORKLOAD", "WEB_CLIENT", "write_sample_log"]
