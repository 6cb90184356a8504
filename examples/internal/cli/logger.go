package cli

import "github.com/hashicorp/go-hclog"

// flagLogger words the remedies of errors that are logged as [Line] does.
type flagLogger struct{ hclog.Logger }

func worded(args []any) []any {
	list := make([]any, len(args))
	for i, a := range args {
		if err, ok := a.(error); ok && err != nil {
			a = Line(err)
		}
		list[i] = a
	}
	return list
}

func (l flagLogger) Log(level hclog.Level, msg string, args ...any) {
	l.Logger.Log(level, msg, worded(args)...)
}
func (l flagLogger) Trace(msg string, args ...any) { l.Logger.Trace(msg, worded(args)...) }
func (l flagLogger) Debug(msg string, args ...any) { l.Logger.Debug(msg, worded(args)...) }
func (l flagLogger) Info(msg string, args ...any)  { l.Logger.Info(msg, worded(args)...) }
func (l flagLogger) Warn(msg string, args ...any)  { l.Logger.Warn(msg, worded(args)...) }
func (l flagLogger) Error(msg string, args ...any) { l.Logger.Error(msg, worded(args)...) }

func (l flagLogger) With(args ...any) hclog.Logger  { return flagLogger{l.Logger.With(args...)} }
func (l flagLogger) Named(name string) hclog.Logger { return flagLogger{l.Logger.Named(name)} }
func (l flagLogger) ResetNamed(name string) hclog.Logger {
	return flagLogger{l.Logger.ResetNamed(name)}
}
