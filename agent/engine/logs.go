package engine

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/containers/podman/v5/pkg/bindings/containers"
)

// The streams of a container's log.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// maxLine is where a line of a log that does not end is cut, in bytes.
const maxLine = 4096

// Logs calls line with each of the last lines that a container wrote, tail of them,
// and with follow of those that it writes, until it has ended, line returns an
// error, or ctx ends. A line has no end of line, is UTF-8, and at most 4096 bytes
// long.
func (e *Engine) Logs(ctx context.Context, id string, tail int, follow bool, line func(stream, text string) error) error {
	ctx, err := e.with(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := new(containers.LogOptions).WithStdout(true).WithStderr(true).WithTail(strconv.Itoa(tail)).WithFollow(follow)
	stdout, stderr, ended := make(chan string), make(chan string), make(chan error, 1)
	go func() { ended <- containers.Logs(ctx, id, options, stdout, stderr) }()
	out, errs := &splitter{stream: Stdout}, &splitter{stream: Stderr}
	var refused error
	take := func(s *splitter, frame string) {
		// What comes after a refusal is taken, and left: the reader waits for that.
		if refused == nil {
			if refused = s.add(frame, line); refused != nil {
				cancel()
			}
		}
	}
	for {
		select {
		case frame := <-stdout:
			take(out, frame)
		case frame := <-stderr:
			take(errs, frame)
		case err := <-ended:
			for _, s := range []*splitter{out, errs} {
				if refused == nil {
					refused = s.rest(line)
				}
			}
			switch {
			case refused != nil:
				return refused
			case status(err) == http.StatusNotFound:
				return fmt.Errorf("logs of container %q: %w", id, ErrNoContainer)
			case err != nil:
				return failed(fmt.Sprintf("read the log of container %q", id), err)
			}
			return nil
		}
	}
}

// splitter makes lines of what an engine sends of one stream.
type splitter struct {
	stream string
	part   strings.Builder
}

// add takes some text and tells the lines that end in it.
func (s *splitter) add(text string, line func(stream, text string) error) error {
	for text != "" {
		piece, rest, ends := strings.Cut(text, "\n")
		if room := maxLine - s.part.Len(); len(piece) > room {
			piece, rest, ends = text[:room], text[room:], true
		}
		s.part.WriteString(piece)
		text = rest
		if !ends {
			return nil
		}
		if err := s.tell(line); err != nil {
			return err
		}
	}
	return nil
}

// rest tells what has no end of line.
func (s *splitter) rest(line func(stream, text string) error) error {
	if s.part.Len() == 0 {
		return nil
	}
	return s.tell(line)
}

func (s *splitter) tell(line func(stream, text string) error) error {
	text := strings.TrimSuffix(s.part.String(), "\r")
	s.part.Reset()
	// A question mark is no longer than what it stands for.
	return line(s.stream, strings.ToValidUTF8(text, "?"))
}
