// C11's threads by way of POSIX's; see CThreads.c.
