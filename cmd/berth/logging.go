package main

import (
	"io"
	"log/slog"
	"maps"
	"slices"
)

// newLogger returns the logger that log.level, log.formatter, log.fields and
// log.reportcaller ask for. level may be changed while it is in use.
func newLogger(w io.Writer, level *slog.LevelVar, c logConfig) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, AddSource: c.ReportCaller}
	var h slog.Handler
	switch c.Formatter {
	case "json":
		h = slog.NewJSONHandler(w, options)
	case "logstash":
		options.ReplaceAttr = logstashNames
		h = slog.NewJSONHandler(w, options)
		h = h.WithAttrs([]slog.Attr{slog.String("@version", "1")})
	default:
		h = slog.NewTextHandler(w, options)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		h = h.WithAttrs([]slog.Attr{slog.Any(name, c.Fields[name])})
	}
	return slog.New(h)
}

// logstashNames gives the fields of a record the names that Logstash expects.
func logstashNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		a.Key = "@timestamp"
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}

// logLevel returns the level of that name in Distribution's configuration.
func logLevel(name string) slog.Level {
	switch name {
	case "error":
		return slog.LevelError
	case "warn":
		return slog.LevelWarn
	case "debug":
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
