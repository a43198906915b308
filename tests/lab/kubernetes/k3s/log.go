package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

const recordFile = "/var/log/lab-record/executions"

var logLock sync.Mutex

// logf writes one line the way K3s's logger does.
func logf(level, format string, values ...any) {
	logLock.Lock()
	defer logLock.Unlock()
	stamp := time.Now().UTC().Format(time.RFC3339)
	fmt.Fprintf(os.Stderr, "time=%q level=%s msg=%q\n", stamp, level, fmt.Sprintf(format, values...))
}

// record notes this start where the lab keeps all program starts of a host.
//
// Other programs are seen by a preloaded library (tests/lab/record.c, which defines the format), and a static
// program is not. Errors end in silence: the record must never make a program fail.
func record(args []string) {
	if _, silent := os.LookupEnv("LAB_SILENT"); silent {
		return
	}
	file, err := os.OpenFile(recordFile, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return
	}
	defer file.Close()
	escape := strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\t", "\\t")
	now := time.Now()
	var line strings.Builder
	fmt.Fprintf(&line, "%d.%09d\t%d", now.Unix(), now.Nanosecond(), os.Getpid())
	for _, arg := range args {
		line.WriteString("\t" + escape.Replace(arg))
	}
	line.WriteString("\n")
	_, _ = file.WriteString(line.String())
}
