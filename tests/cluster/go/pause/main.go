// Pause does nothing until it is told to end. It is the first process of every pod's sandbox, where it holds
// the namespaces that the containers share, and of the node itself, whose processes are children of nobody
// else: as process 1 it must reap them, and must handle SIGTERM, which the kernel withholds from a process 1
// that does not.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		// One SIGCHLD may stand for many children: signals of one kind do not queue.
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
	}
}
