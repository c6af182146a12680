    .section __TEXT,__const
    .p2align 6
    .globl _net_weights
    .private_extern _net_weights
_net_weights:
    .incbin "weights.bin"
