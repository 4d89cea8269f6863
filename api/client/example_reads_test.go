package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/ebrahem-outlook/customer-service/api/client"
)

// A list is as long as it is; pages are asked for as the loop comes to them.
func ExampleCustomers_List() {
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	tag, limit := "vip", "100" // a page
	for vip, err := range customers.List(context.Background(), client.ListCustomersParams{Tag: &tag, Limit: &limit}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(vip.Id, vip.Email)
	}
}

// More words find less, and a typo is forgiven.
func ExampleCustomers_Search() {
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	words := "zoe dang"
	for found, err := range customers.Search(context.Background(), client.Search{Q: &words}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(found.Id, found.Email)
		break // the first is enough
	}
}

// What happened to a customer, and what it was before it happened.
func ExampleCustomers_History() {
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	ctx, id := context.Background(), "01920e5c-7a3e-7c11-9b53-2f0f6b1c9a10"
	for event, err := range customers.History(ctx, id) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.At.Format(time.DateTime), event.Type)
	}
	yesterday, err := customers.AsOf(ctx, id, time.Now().AddDate(0, 0, -1))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(yesterday.Email)
}

// A program that reacts to every change of any customer, and goes on where it
// was when it is started again.
func ExampleCustomers_Follow() {
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var position int64 // of the last event, kept with what the program made of it
	for event, err := range customers.Follow(ctx, position) {
		if err != nil {
			log.Print(err)
			return
		}
		changed, err := customers.Get(ctx, event.CustomerId.String(), client.After(event.Token))
		switch client.CodeOf(err) {
		case client.ProblemCodeCustomerDeleted, client.ProblemCodeCustomerErased:
			fmt.Println(event.CustomerId, "is gone")
		case "":
			fmt.Println(event.Type, changed.Version)
		}
		fmt.Println("keep", event.Position)
	}
}

// An export is of one moment, however long it takes.
func ExampleCustomers_Export() {
	customers, _ := client.NewCustomers("http://localhost:8080", "http://localhost:8081")
	status := client.StatusFilter("active")
	for one, err := range customers.Export(context.Background(), client.ExportCustomersParams{Status: &status}) {
		if err != nil {
			log.Fatal(err) // what was read is not all
		}
		fmt.Println(one.Id, one.Email)
	}
}
