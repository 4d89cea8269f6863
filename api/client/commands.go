package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Register registers a customer.
func (c *Customers) Register(ctx context.Context, r Registration, options ...Option) (*Customer, error) {
	return c.command("", options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.RegisterCustomer(ctx, nil, r, edit)
	})
}

// Change changes what the patch names; null removes.
func (c *Customers) Change(ctx context.Context, id string, p CustomerPatch, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.ChangeCustomerWithApplicationMergePatchPlusJSONBody(ctx, id, nil, p, edit)
	})
}

// AddAddress adds an address, which is the last one of the answer's.
func (c *Customers) AddAddress(ctx context.Context, id string, a AddressInput, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.AddAddress(ctx, id, nil, a, edit)
	})
}

// ChangeAddress replaces an address; what a leaves out is empty afterwards.
func (c *Customers) ChangeAddress(ctx context.Context, id, addressID string, a AddressInput, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.ChangeAddress(ctx, id, addressID, nil, a, edit)
	})
}

// RemoveAddress removes an address.
func (c *Customers) RemoveAddress(ctx context.Context, id, addressID string, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.RemoveAddress(ctx, id, addressID, nil, edit)
	})
}

// AddTag adds a tag.
func (c *Customers) AddTag(ctx context.Context, id, tag string, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.AddTag(ctx, id, tag, nil, edit)
	})
}

// RemoveTag removes a tag.
func (c *Customers) RemoveTag(ctx context.Context, id, tag string, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.RemoveTag(ctx, id, tag, nil, edit)
	})
}

// SetConsent grants or withdraws consent for a channel: email, sms, phone or post.
func (c *Customers) SetConsent(ctx context.Context, id, channel string, consent ConsentInput, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.SetConsent(ctx, id, channel, nil, consent, edit)
	})
}

// Suspend marks a customer as suspended.
func (c *Customers) Suspend(ctx context.Context, id, reason string, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.SuspendCustomer(ctx, id, nil, ReasonInput{Reason: reason}, edit)
	})
}

// Reinstate ends a suspension.
func (c *Customers) Reinstate(ctx context.Context, id string, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.ReinstateCustomer(ctx, id, nil, edit)
	})
}

// Delete takes a customer from all reads and frees its e-mail address and
// external id.
func (c *Customers) Delete(ctx context.Context, id string, options ...Option) error {
	res, err := c.commands.DeleteCustomer(ctx, id, nil, editor(keyed(options)))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusNoContent {
		return failure(res)
	}
	c.remember(id, res.Header)
	return nil
}

// Restore undoes a deletion.
func (c *Customers) Restore(ctx context.Context, id string, options ...Option) (*Customer, error) {
	return c.command(id, options, func(edit RequestEditorFn) (*http.Response, error) {
		return c.commands.RestoreCustomer(ctx, id, nil, edit)
	})
}

// Erase erases a customer for good and returns the record of it, the same one
// if it was erased before.
func (c *Customers) Erase(ctx context.Context, id, reason string, options ...Option) (*Erasure, error) {
	res, err := c.commands.EraseCustomer(ctx, id, nil, ReasonInput{Reason: reason}, editor(keyed(options)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	record, err := decode[Erasure](res)
	if err == nil {
		c.remember(id, res.Header)
	}
	return record, err
}

// Import sends customers, one JSON document a line, and calls each with the
// result of every line while they are being sent; its error ends the import.
// An import is not repeated by itself: importing the same lines again changes
// nothing that has landed.
func (c *Customers) Import(ctx context.Context, lines io.Reader, each func(ImportResult) error, options ...Option) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	res, err := c.commands.ImportCustomersWithBody(ctx, nil, "application/x-ndjson", lines, editor(options))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return failure(res)
	}
	for results := json.NewDecoder(res.Body); ; {
		var one ImportResult
		switch err := results.Decode(&one); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the results: %w", err)
		}
		if err := each(one); err != nil {
			return err
		}
	}
}

// command sends a command about a customer, or about one that the answer names.
func (c *Customers) command(id string, options []Option, send func(RequestEditorFn) (*http.Response, error)) (*Customer, error) {
	res, err := send(editor(keyed(options)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	customer, err := decode[Customer](res)
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = customer.Id.String()
	}
	c.remember(id, res.Header)
	return customer, nil
}
