"""Asking servers for things: politely, within limits, and never twice."""
