"""From agent logs, repositories and commits to datasets: records, the steps that make them, and dataset folders."""
