package devstack

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// Stop ends the service in order, and by force what has not ended after 15 s.
// A service that is stopped is left alone.
func (s *Service) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	main := s.main()
	if main == nil {
		return nil
	}
	if err := s.resume(); err != nil {
		return err
	}
	return s.end(main, s.driver.profile().stop, "stopped")
}

// Crash makes PostgreSQL shut down immediately: it ends all sessions without a
// word to the clients' transactions and writes no checkpoint, so that its next
// start recovers. Other services have no such way to end.
func (s *Service) Crash() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	crash := s.driver.profile().crash
	if crash == 0 {
		return fmt.Errorf("crash %s: it has no immediate shutdown", s.kind)
	}
	main := s.main()
	if main == nil {
		return nil
	}
	if err := s.resume(); err != nil {
		return err
	}
	return s.end(main, crash, "shut down immediately")
}

// end sends the service a signal to end by, and kills what has not ended after
// 15 s.
func (s *Service) end(main *child, sig syscall.Signal, how string) error {
	if main.running() {
		if err := signalProcess(main.process, sig); err != nil {
			return err
		}
		timer := time.NewTimer(15 * time.Second)
		defer timer.Stop()
		select {
		case <-main.done:
		case <-timer.C:
			s.stack.say("%s: did not stop within 15s, killing it", s.kind)
		}
	}
	if err := s.reap(context.Background()); err != nil {
		return err
	}
	s.stack.say("%s: %s", s.kind, how)
	return s.note()
}
