    .section .rodata.net_weights,"",@
    .p2align 6
    .globl net_weights
    .hidden net_weights
    .type net_weights,@object
net_weights:
    .incbin "weights.bin"
    .size net_weights, @SIZE@
