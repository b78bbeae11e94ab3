"""The generic partner where it is only asked, and has nothing to post.

It is an adapter of its own because events are for those who can take them: what providers post about
payments belongs to `payment_webhook_inbound`.
"""

from dispatch.adapters.generic import asked
from dispatch.contracts import Call
from dispatch.operations import loyalty, payments


class GenericAsked(payments.PaymentMethodAdapter, loyalty.LoyaltyAdapter):
    slug = "*"
    speaks = {"payment_method": (1,), "loyalty_provider": (1,)}

    def create_payment(self, call: Call, request: payments.NewPayment) -> payments.StartedPayment:
        return asked(payments.PaymentMethodAdapter.create_payment, call, request)

    def payment_status(
        self, call: Call, request: payments.PaymentQuestion
    ) -> payments.PaymentState:
        return asked(payments.PaymentMethodAdapter.payment_status, call, request)

    def cancel_payment(
        self, call: Call, request: payments.Cancellation
    ) -> payments.CancelledPayment:
        return asked(payments.PaymentMethodAdapter.cancel_payment, call, request)

    def refund_payment(self, call: Call, request: payments.RefundOrder) -> payments.Refund:
        return asked(payments.PaymentMethodAdapter.refund_payment, call, request)

    def payment_plans(self, call: Call, request: payments.PlansQuestion) -> payments.Plans:
        return asked(payments.PaymentMethodAdapter.payment_plans, call, request)

    def search_members(self, call: Call, request: loyalty.MemberQuestion) -> loyalty.Accounts:
        return asked(loyalty.LoyaltyAdapter.search_members, call, request)

    def enrol_member(self, call: Call, request: loyalty.Enrolment) -> loyalty.Account:
        return asked(loyalty.LoyaltyAdapter.enrol_member, call, request)

    def inquire_member(self, call: Call, request: loyalty.MemberOrder) -> loyalty.Member:
        return asked(loyalty.LoyaltyAdapter.inquire_member, call, request)

    def redeem_points(self, call: Call, request: loyalty.Redeem) -> loyalty.Redeemed:
        return asked(loyalty.LoyaltyAdapter.redeem_points, call, request)

    def accrue_points(self, call: Call, request: loyalty.Accrue) -> loyalty.Accrued:
        return asked(loyalty.LoyaltyAdapter.accrue_points, call, request)

    def reverse_points(self, call: Call, request: loyalty.Reverse) -> loyalty.NewBalance:
        return asked(loyalty.LoyaltyAdapter.reverse_points, call, request)

    def transfer_points(self, call: Call, request: loyalty.Transfer) -> loyalty.NewBalance:
        return asked(loyalty.LoyaltyAdapter.transfer_points, call, request)
