"""Making stores ready for training: gulp folders, frame folders, optical flow, and a check of every clip.

Each kind of work is one function that runs in several processes, goes on where an earlier run was stopped, sets a broken video
or clip aside instead of stopping, and returns an `Outcome`. One run at a time may write a folder.
"""
