"""Grafana as code: data sources, dashboards and alert rules in Korean and English, made into deploy/grafana/."""
