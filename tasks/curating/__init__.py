"""The steps of curation as tasks, and what makes their datasets findable again."""
