"""One logged call: its line in a log, its messages, tool calls, answer, time and identity.

log_line      one line of a log, typed, payloads left as raw JSON
timestamps    the forms of a time, to seconds since 1970 in UTC
messages      content and tool calls as text
arguments     tool-call arguments as objects and as JSON strings
answers       the choice that is the answer, and its class
frames        a request without its messages: tools and settings, which calls share
canonical     one form for calls that mean the same; hashes and ids from it
"""
