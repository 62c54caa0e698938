"""The flywheel's domain: records, curation, datasets, evaluation, reports. No network, no database, no Prefect."""

__version__ = "0.1.0"
