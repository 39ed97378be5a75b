"""Every option of a run, once: its keyword, type, default, flag, config key and what it means.

``rows`` is the table.  ``keywords`` types them for the Python API and writes its documentation, the
command line makes its flags and ``--help`` of them, ``config`` the keys of ``--config FILE.yaml``.
Nothing heavy is imported, since ``oq --help`` reads this.  May import ``planning``, when a value
is read.
"""
