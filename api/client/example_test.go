package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/ebrahem-outlook/customer-service/api/client"
)

func timeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

// What was just written is read at once, whichever processes answer.
func ExampleCustomers() {
	customers, err := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	zoe, err := customers.Register(ctx, client.Registration{FirstName: client.Set("Zoë"), Email: "zoe@example.com"})
	switch client.CodeOf(err) {
	case "":
	case client.ProblemCodeEmailTaken:
		log.Print("somebody else has that e-mail address")
	}
	if err != nil {
		log.Fatal(err)
	}
	read, err := customers.Get(ctx, zoe.Id.String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(read.Version == zoe.Version)
}

// A change that was decided on what was read does not overwrite another's.
func ExampleIfVersion() {
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	ctx, id := context.Background(), "01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10"
	for {
		zoe, err := customers.Get(ctx, id)
		if err != nil {
			log.Fatal(err)
		}
		_, err = customers.AddTag(ctx, id, "vip", client.IfVersion(zoe.Version))
		if client.CodeOf(err) == client.ProblemCodeVersionMismatch {
			continue // somebody changed her in between: look again
		}
		if err != nil {
			log.Fatal(err)
		}
		return
	}
}

// A file of any length is imported while it is read.
func ExampleCustomers_Import() {
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	file, err := os.Open("customers.ndjson")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	err = customers.Import(context.Background(), file, func(line client.ImportResult) error {
		if line.Status == client.Failed {
			fmt.Println(line.Line, line.Problem.Code)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}

// One answer names every fault of a request.
func ExampleError() {
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	_, err := customers.Register(context.Background(), client.Registration{Email: "zoe@"})
	switch client.CodeOf(err) {
	case client.ProblemCodeValidationFailed:
		if problem, ok := errors.AsType[*client.Error](err); ok {
			for _, fault := range problem.Faults() {
				fmt.Println(fault.Pointer, fault.Code)
			}
		}
	case client.ProblemCodeEmailTaken:
		fmt.Println("somebody else has it")
	}
}

// Three attempts of three seconds each, for a caller that has no more time.
func ExampleWithAttempts() {
	_, err := client.NewCustomers("http://localhost:8080", "http://localhost:8081",
		client.WithHTTPClient(&http.Client{Timeout: 3 * time.Second}), // of one attempt
		client.WithAttempts(3)) // after WithHTTPClient; 1 never repeats
	if err != nil {
		log.Fatal(err)
	}
}

// A key that outlives the program makes a command one, however often the
// program is started again.
func ExampleWithIdempotencyKey() {
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	registration := client.Registration{FirstName: client.Set("Zoë"), Email: "zoe@example.com"}
	if _, err := customers.Register(context.Background(), registration, client.WithIdempotencyKey("order-42")); err != nil {
		log.Fatal(err)
	}
}

// A token carries what one program wrote to another that reads it.
func ExampleCustomers_Token() {
	ctx, id := context.Background(), "01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10"
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	if _, err := customers.Change(ctx, id, client.CustomerPatch{Phone: client.Remove[string]()}); err != nil {
		log.Fatal(err)
	}
	token := customers.Token(id) // put it into a message, say

	elsewhere, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	if _, err := elsewhere.Get(ctx, id, client.After(token), client.WithPatience(10)); err != nil {
		log.Fatal(err)
	}
}
