package command

import "github.com/ebrahem-outlook/customer-service/internal/customer"

// Forget drops what this process keeps of customers, their keys included, as
// when another replica erased them. It decides nothing: a command that comes
// next reads the log.
func (s *Service) Forget(ids ...customer.ID) {
	for _, id := range ids {
		s.cache.drop(id)
	}
}

// ForgetAll drops what this process keeps of any customer.
func (s *Service) ForgetAll() { s.cache.clear() }
