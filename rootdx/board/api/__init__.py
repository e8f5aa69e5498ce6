"""The REST API under the pages: one module a subject, put together in `rootdx.board.app`."""
