"""NVIDIA NeMo Microservices (25.x, `/v1`) as the platform: data sets, deployments, fine-tunes, evaluations.

Three services are spoken to, each with a base URL of its own: `nemo` (Entity Store, Deployment Management, Customizer,
Evaluator), `nim` (inference) and `datastore` (files). `platform.py` is the port; every other file is one part of the
API. Everything made there has a name or a tag from which it is found again.
"""
